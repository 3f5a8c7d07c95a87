# SPDX-License-Identifier: Apache-2.0
"""Deliberate search: best-first over latents in the world model, until an imagined way reaches the goal.

``tree`` keeps the states, ``edges`` proposes what to do in them, ``deliberation`` grows the tree, ``way`` is what it
hands over, ``follow`` makes subgoals of it, ``turns`` runs it beside the fast search, ``deliberator`` decides when.
"""
