"""`loren sweep`: variants of one configuration, trained on what is prepared once, compared, and one of them recommended."""
