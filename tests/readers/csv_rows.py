"""Reads CSV by Python's own reader and tells its rows as JSON. Usage: csv_rows.py FILE."""

import csv
import json
import sys

with open(sys.argv[1], newline="") as file:
    json.dump(list(csv.DictReader(file, strict=True)), sys.stdout)
