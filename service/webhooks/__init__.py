"""What happens in sessions, told to the platform's backend by HTTP."""
