"""`python -m fm_pipeline` is the command `fm-pipeline`."""

from fm_pipeline.cli.main import main

if __name__ == "__main__":
    main()
