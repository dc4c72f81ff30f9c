"""What a training did to the model: how well its objectives agree, and curves to look at."""
