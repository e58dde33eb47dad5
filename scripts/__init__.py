"""The tools around hamux: notebooks to package, tests and site."""
