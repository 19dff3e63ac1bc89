"""What a fleet is made of: values and decisions. No I/O, no clock, no chance."""
