"""Results in the formats that other tools read, and back.

Every format takes :class:`.annotations.AnnotatedPicture` values, one after the other, and none keeps them:
a folder of pictures or a video of any length is written in bounded memory. What shares values with another
library in memory has a module of its own: ``supervision``, ``bbox_widget``.
"""

from maskwright.interop.annotations import AnnotatedPicture as AnnotatedPicture
from maskwright.interop.annotations import Annotation as Annotation
from maskwright.interop.annotations import from_frame as from_frame
from maskwright.interop.annotations import from_frames as from_frames
from maskwright.interop.annotations import from_masks as from_masks
from maskwright.interop.annotations import to_masks as to_masks
from maskwright.interop.arrays import read_npz as read_npz
from maskwright.interop.coco import read_coco as read_coco
from maskwright.interop.cvat import read_cvat as read_cvat
from maskwright.interop.finished import read_finished as read_finished
from maskwright.interop.formats import FORMATS as FORMATS
from maskwright.interop.formats import export as export
from maskwright.interop.formats import open_export as open_export
from maskwright.interop.geojson import read_geojson as read_geojson
from maskwright.interop.labelme import read_labelme as read_labelme
from maskwright.interop.voc import read_voc as read_voc
from maskwright.interop.yolo import read_yolo as read_yolo
