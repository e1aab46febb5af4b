"""Cutting an encoder's vocabulary to the pieces that a language and some texts need (Abdaoui et al. 2020)."""
