"""The output in engines that no other part of the project installs."""
