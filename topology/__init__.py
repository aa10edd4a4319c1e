"""A stack without Pulumi and without a cluster: what it may say, what is refused, what is rendered and reported."""
