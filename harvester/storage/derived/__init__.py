"""Tables beside the datasets: their files, and the days that they tell."""
