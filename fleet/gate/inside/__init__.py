"""What is loaded into the process of the tests, in whatever Python the repository has.

Nothing of ours can be imported there: the standard library and its own pytest only.
"""
