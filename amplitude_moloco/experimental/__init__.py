"""What rests on a contract that nobody has confirmed. It may change, or go, in any release."""
