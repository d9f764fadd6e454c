"""The catalogue as a page, and against WeChat's documentation."""
