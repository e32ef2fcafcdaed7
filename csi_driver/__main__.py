"""`python -m csi_driver` is the command `model-csi`."""

from csi_driver.cli import main

if __name__ == "__main__":
    main()
