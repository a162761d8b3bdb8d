"""What taskqueue costs, beside a floor and its peers, in one run on one machine: `make bench`."""
