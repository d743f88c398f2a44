"""What can be made from saved runs: tables, figures, animations, games in the original environments.

report      a study as tables and sentences
plotting    figures; curves and drawing are their tools
animation   played games as a GIF
gymnasium   a policy in Gymnasium's environment of the same name
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["animation", "gymnasium", "plotting", "report"])
