"""Judges: each looks at one kind of candidate as a layer of the run does.

===========  ===============================================  =================================
judge        an injection gets, and returns                   judged by
===========  ===============================================  =================================
network      a copy of the extracted network, to change       surgery
original     a copy of the original HTDemucs, to change       surgery, by the golden
program      the opened FP32 package, a `Converted`           conversion, end_to_end
arithmetic   the same; its executor computes otherwise        conversion, end_to_end
mixed        the same of the `mini_60db` package              conversion, end_to_end
package      packages, and what one is shipped as             conversion: contract, audit, origin
transform    a `Port` of the STFT                             stft
feature      a `LogFeature` in front of a network             conversion, at several levels
joiner       a `Joiner` of segments                           end_to_end, on a file
stems        the stems of one segment                         end_to_end
goldens      a golden store on disk                           the store and the run's verdict
suite        nothing; patches a module in its own process     real suites, run by pytest
session      the files of a test session                      the pytest plugin, the run's verdict
gates        a gate of the table                              other faults, which then go unseen
===========  ===============================================  =================================
"""
