"""The viewer of a section: a folder that a browser opens from disk, without a server.

A page that lies on disk may load scripts and pictures but not read files, so the H&E is a pyramid
of JPEG tiles (`tiles`) and every array is a script that hands itself over (`data_scripts`), one
for each gene, in a byte a value (`quantise`). `predictions` and `gene_table` read what a run knows
of the section, `units` and `annotation` describe its units, `folder` writes it all. The page's own
code is in resources/viewer/, with the released libraries that it uses in vendor/ (`vendored`).
"""
