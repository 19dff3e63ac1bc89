"""What holds calls back: limits, queues, breakers, retries, budgets, loops.

Everything here is pure: values and small machines that are told the time (`now`, of a clock that
never goes back) and whatever they need of chance. What they decide is carried out by
`fleet.proxy.dispatch`.
"""
