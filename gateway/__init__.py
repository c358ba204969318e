"""The gateway: composes policies, generator and evaluator into one governed release. Start reading in `gateway.releases`."""
