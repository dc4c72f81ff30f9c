"""What every training has in common: order, rates, metrics and states that a killed run goes on from."""
