"""The paper's four rows on equal budgets: what spatial prompts and spatial pre-training are worth."""
