"""Speed: what an ask costs, beside the floors of the same run on the same machine."""
