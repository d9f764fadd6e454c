"""Page of a report: the days of all accounts, four bits each, and tables as plain HTML."""
