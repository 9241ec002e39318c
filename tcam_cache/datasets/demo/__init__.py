"""The embedded data set: cut-outs of photographs that move over other photographs."""
