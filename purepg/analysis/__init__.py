"""What is made of saved runs: words, figures, films, games in the original environments.

report      a study in a table and in sentences
plotting    figures, drawn with what is in drawing
animation   a film of played games
gymnasium   a policy in Gymnasium's environment of the same name
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["animation", "gymnasium", "plotting", "report"])
