"""What runs on the robot's computer: engines, scheduler, server, safety and telemetry."""
