"""Pictures that cameras in the field were unsure of, collected to be labelled."""
