"""Whether a moved object is noticed, and how often something else is taken for one."""
