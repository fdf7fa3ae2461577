"""The parts of GMIA's indirect attack, one step a file. ``attacks/gmia_indirect.py`` puts them together.

domain: what a valid query is · generate: random ones · cluster: few that differ · influence: which of them a record
moves · optimise: moving the others until it does · combine: one p-value of many answers.
"""
