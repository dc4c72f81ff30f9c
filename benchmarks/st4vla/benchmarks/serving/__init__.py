"""The runtime against others and against itself: round trips, contention, reaction, ages."""
