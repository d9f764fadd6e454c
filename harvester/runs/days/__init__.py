"""Days of an output, as files, records and the tables beside the datasets have them."""
