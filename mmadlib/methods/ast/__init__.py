"""AST (WACV 2023): a normalising flow as the teacher, an ordinary network as the student; where they differ is new."""

from mmadlib.methods.ast.ast import AST
from mmadlib.methods.ast.flow import Flow
from mmadlib.methods.ast.settings import VARIANTS, Settings
from mmadlib.methods.ast.student import Student

__all__ = ["AST", "VARIANTS", "Flow", "Settings", "Student"]
