"""Quality, measured on data nobody may copy into the project, and on our own docs."""
