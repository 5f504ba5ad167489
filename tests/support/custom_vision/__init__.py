"""A stand-in for Azure Custom Vision: its prediction and training contract behind real HTTP on loopback.

It follows the published specification and what the real SDK sends and reads; it was never compared with the live service.
"""
