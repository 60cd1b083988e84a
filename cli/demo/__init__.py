"""The main job, end to end: from a community repository to a running Grafana, told step by step.

``story`` has the steps; ``process`` runs the service as a process of its own, so that it can be killed; ``proof`` asks
what was deployed by HTTP.
"""
