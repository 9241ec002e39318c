"""`python -m tcam_cache`: the command line, for a Python whose scripts are not on the PATH."""

from tcam_cache_cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m tcam_cache")
