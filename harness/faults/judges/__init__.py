"""Stands: what judges a candidate as a layer of the run does, one for each kind of candidate.

===========  ===============================================  =================================
stand        an injection gets, and returns                   judged by
===========  ===============================================  =================================
network      a copy of the extracted network in PyTorch       surgery
original     a copy of the original HTDemucs                  surgery, by the golden
program      the opened FP32 package, a `Model`               conversion, end_to_end
mixed        the opened `mini_60db` package, a `Model`        conversion, end_to_end
package      packages, and what one is shipped as             conversion: contract, audit, origin
transform    a `Port` of the STFT                             stft
feature      a `Feature` in front of a network                conversion, at several levels
joiner       a `Joiner` of segments                           end_to_end, on a file
stems        the stems of one segment                         end_to_end
goldens      a golden store on disk                           the store and the run's verdict
suite        nothing; patches a module in its own process     real suites, run by pytest
session      a small test session on disk                     the pytest plugin, the run's verdict
gates        nothing; loosens a gate in the table             other faults, which then go unseen
===========  ===============================================  =================================
"""
