"""Where blocks live: a SQLite file with one transaction per block, its queue of waiting extrinsics, its replay, and its
metagraphs as Parquet.
"""
