"""How often decisions are wrong, and how long they take: the operator's own code on simulated traffic."""
