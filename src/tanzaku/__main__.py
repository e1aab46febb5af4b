"""`python -m tanzaku` is the command line."""

from tanzaku.cli import main

if __name__ == "__main__":
    main()
