"""`python -m tcam_cache`: the command line, for a Python whose scripts are not on the PATH."""

# The folder cli/ has this name once it is installed.
from tcam_cache_cli.main import main  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    main(prog_name="python -m tcam_cache")
