"""The answer cache: key, guard and stores."""
