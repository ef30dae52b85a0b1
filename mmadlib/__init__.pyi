from .sample import Sample as Sample

__version__: str
