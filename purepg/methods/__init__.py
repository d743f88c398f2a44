"""What `purepg.train` scans over: a method turns one state into the next, by an update of its own kind.

policy_gradient   an estimator of ∇J and an optimizer
q_learning        tabular; dqn with a network and replay; action_values is what both share
cross_entropy     the best of many parameter vectors, or of many whole games
optimizer         optax's, as a frozen record with traced numbers
"""
