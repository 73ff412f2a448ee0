"""How good a policy is: closed-loop trials, why they fail, comparisons, ablations."""
