"""The whole way in separate processes: rendered frames, bridge, runtime, player, libfranka, virtual Franka."""
