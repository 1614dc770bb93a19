"""Engines on a Ray cluster.

The driver never imports Ray, which ends the program that is connected to a cluster when its head is
gone. A *gateway* process is connected; it relays between the driver's pipes and one *actor* an
engine.
"""
