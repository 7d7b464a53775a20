"""A section as other tools open it: SpatialData for napari and squidpy, GeoJSON for QuPath.

`gather_section` brings together what is known of a section's units (`section`), `footprints` gives
them outlines (`outlines`), `build_spatialdata` and `write_store` write SpatialData (`store`, with
the image from `pyramid` and the tables from `tables`), `write_qupath` writes GeoJSON (`qupath`).
Only `store` and `pyramid` need spatialdata and what comes with it.
"""
