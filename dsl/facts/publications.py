r"""Publications of the methods that specs name, as facts for their citation.

Names and titles are LaTeX text, such as `L{\'e}on`. A field that is not known for certain is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CVPR = "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)"
ICLR = "International Conference on Learning Representations (ICLR)"
NEURIPS = "Advances in Neural Information Processing Systems (NeurIPS)"
ICML = "Proceedings of the International Conference on Machine Learning (ICML)"

VENUE_FIELDS = {"inproceedings": "booktitle", "article": "journal", "techreport": "institution"}
"""Field of BibTeX that holds the venue, by the kind of publication."""


@dataclass(frozen=True)
class Publication:
    """One publication."""

    key: str
    """The key of its BibTeX entry."""
    title: str
    authors: tuple[str, ...]
    """Each as "Family, Given"; a last "others" stands for those that are left out."""
    year: int
    venue: str = ""
    """Conference, journal or institution."""
    pages: str = ""
    arxiv: str = ""
    """Number of its preprint."""
    kind: Literal["inproceedings", "article", "techreport", "misc"] = "inproceedings"

    @property
    def bibtex(self) -> str:
        """The entry of BibTeX; the inner braces keep the capitals of the title."""
        preprint = "arXiv" if self.arxiv else ""
        fields = {
            "title": f"{{{self.title}}}",
            "author": " and ".join(self.authors),
            VENUE_FIELDS.get(self.kind, "howpublished"): self.venue,
            "pages": self.pages,
            "year": str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": preprint,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


BILEN, ZHAO = "Bilen, Hakan", "Zhao, Bo"

METHODS: tuple[Publication, ...] = (
    Publication(
        key="cazenavette2022mtt",
        title="Dataset Distillation by Matching Training Trajectories",
        authors=(
            "Cazenavette, George",
            "Wang, Tongzhou",
            "Torralba, Antonio",
            "Efros, Alexei A.",
            "Zhu, Jun-Yan",
        ),
        year=2022,
        venue=CVPR,
        pages="4750--4759",
        arxiv="2203.11932",
    ),
    Publication(
        key="feng2024embarrassingly",
        title="Embarrassingly Simple Dataset Distillation",
        authors=("Feng, Yunzhen", "Vedantam, Shanmukha Ramakrishna", "Kempe, Julia"),
        year=2024,
        venue=ICLR,
        arxiv="2311.07025",
    ),
    Publication(
        key="kim2022idc",
        title="Dataset Condensation via Efficient Synthetic-Data Parameterization",
        authors=("Kim, Jang-Hyun", "Kim, Jinuk", "Oh, Seong Joon", "others"),
        year=2022,
        venue=ICML,
        arxiv="2205.14959",
    ),
    Publication(
        key="zhou2022frepo",
        title="Dataset Distillation using Neural Feature Regression",
        authors=("Zhou, Yongchao", "Nezhadarya, Ehsan", "Ba, Jimmy"),
        year=2022,
        venue=NEURIPS,
        arxiv="2206.00719",
    ),
    Publication(
        key="you2020lamb",
        title="Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        authors=("You, Yang", "Li, Jing", "Reddi, Sashank", "others"),
        year=2020,
        venue=ICLR,
        arxiv="1904.00962",
    ),
    Publication(
        key="cui2023tesla",
        title="Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory",
        authors=("Cui, Justin", "Wang, Ruochen", "Si, Si", "Hsieh, Cho-Jui"),
        year=2023,
        venue=ICML,
        pages="6565--6590",
        arxiv="2211.10586",
    ),
    Publication(
        key="du2023ftd",
        title="Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation",
        authors=(
            "Du, Jiawei",
            "Jiang, Yidi",
            "Tan, Vincent Y. F.",
            "Zhou, Joey Tianyi",
            "Li, Haizhou",
        ),
        year=2023,
        venue=CVPR,
        arxiv="2211.11004",
    ),
    Publication(
        key="guo2024datm",
        title="Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching",
        authors=(
            "Guo, Ziyao",
            "Wang, Kai",
            "Cazenavette, George",
            "Li, Hui",
            "Zhang, Kaipeng",
            "You, Yang",
        ),
        year=2024,
        venue=ICLR,
        arxiv="2310.05773",
    ),
    Publication(
        key="liu2024att",
        title="Dataset Distillation by Automatic Training Trajectories",
        authors=("Liu, Dai", "Gu, Jindong", "Cao, Hu", "Trinitis, Carsten", "Schulz, Martin"),
        year=2024,
        venue="Proceedings of the European Conference on Computer Vision (ECCV)",
        arxiv="2407.14245",
    ),
    Publication(
        key="li2024pad",
        title="Prioritize Alignment in Dataset Distillation",
        authors=("Li, Zekai", "Guo, Ziyao", "Zhao, Wangbo", "others"),
        year=2024,
        arxiv="2408.03360",
        kind="misc",
    ),
    Publication(
        key="paul2021datadiet",
        title="Deep Learning on a Data Diet: Finding Important Examples Early in Training",
        authors=("Paul, Mansheej", "Ganguli, Surya", "Dziugaite, Gintare Karolina"),
        year=2021,
        venue="Advances in Neural Information Processing Systems",
        arxiv="2107.07075",
    ),
    Publication(
        key="shen2023ast",
        title="AST: Effective Dataset Distillation through Alignment with Smooth and High-Quality "
        "Expert Trajectories",
        authors=("Shen, Jiyuan", "Yang, Wenzhuo", "Lam, Kwok-Yan"),
        year=2023,
        arxiv="2310.10541",
        kind="misc",
    ),
    # The proceedings of CVPR 2025 name another last author; these are the preprint's.
    Publication(
        key="zhong2024mct",
        title="Towards Stable and Storage-efficient Dataset Distillation: Matching Convexified "
        "Trajectory",
        authors=(
            "Zhong, Wenliang",
            "Tang, Haoyu",
            "Zheng, Qinghai",
            "Xu, Mingzhu",
            "Hu, Yupeng",
            "Nie, Liqiang",
        ),
        year=2024,
        arxiv="2406.19827",
        kind="misc",
    ),
    Publication(
        key="nganjimi2025btm",
        title="Improving Clinical Dataset Condensation with Mode Connectivity-based Trajectory "
        "Surrogates",
        authors=(
            "Nganjimi, Pafue Christy",
            "Soltan, Andrew",
            "Belgrave, Danielle",
            "Clifton, Lei",
            "Clifton, David A.",
            "Thakur, Anshul",
        ),
        year=2025,
        arxiv="2510.05805",
        kind="misc",
    ),
    Publication(
        key="zhao2021dc",
        title="Dataset Condensation with Gradient Matching",
        authors=(ZHAO, "Mopuri, Konda Reddy", BILEN),
        year=2021,
        venue=ICLR,
        arxiv="2006.05929",
    ),
    Publication(
        key="zhao2021dsa",
        title="Dataset Condensation with Differentiable Siamese Augmentation",
        authors=(ZHAO, BILEN),
        year=2021,
        venue=ICML,
        pages="12674--12685",
        arxiv="2102.08259",
    ),
    Publication(
        key="zhao2023dm",
        title="Dataset Condensation with Distribution Matching",
        authors=(ZHAO, BILEN),
        year=2023,
        venue="Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision "
        "(WACV)",
        pages="6514--6523",
        arxiv="2110.04181",
    ),
    Publication(
        key="wang2022cafe",
        title="CAFE: Learning to Condense Dataset by Aligning Features",
        authors=(
            "Wang, Kai",
            ZHAO,
            "Peng, Xiangyu",
            "Zhu, Zheng",
            "Yang, Shuo",
            "Wang, Shuo",
            "Huang, Guan",
            BILEN,
            "Wang, Xinchao",
            "You, Yang",
        ),
        year=2022,
        venue=CVPR,
        pages="12196--12205",
        arxiv="2203.01531",
    ),
    Publication(
        key="wang2025ncfm",
        title="Dataset Distillation with Neural Characteristic Function: A Minmax Perspective",
        authors=(
            "Wang, Shaobo",
            "Yang, Yicun",
            "Liu, Zhiyuan",
            "Sun, Chenghao",
            "Hu, Xuming",
            "He, Conghui",
            "Zhang, Linfeng",
        ),
        year=2025,
        venue=CVPR,
        arxiv="2502.20653",
    ),
    Publication(
        key="li2025ddranking",
        title="DD-Ranking: Rethinking the Evaluation of Dataset Distillation",
        authors=("Li, Zekai", "Zhong, Xinhao", "others"),
        year=2025,
        arxiv="2505.13300",
        kind="misc",
    ),
    Publication(
        key="welling2009herding",
        title="Herding Dynamical Weights to Learn",
        authors=("Welling, Max",),
        year=2009,
        venue=ICML,
        pages="1121--1128",
    ),
    Publication(
        key="sener2018coreset",
        title="Active Learning for Convolutional Neural Networks: A Core-Set Approach",
        authors=("Sener, Ozan", "Savarese, Silvio"),
        year=2018,
        venue=ICLR,
        arxiv="1708.00489",
    ),
    Publication(
        key="toneva2019forgetting",
        title="An Empirical Study of Example Forgetting during Deep Neural Network Learning",
        authors=(
            "Toneva, Mariya",
            "Sordoni, Alessandro",
            "{Tachet des Combes}, Remi",
            "Trischler, Adam",
            "Bengio, Yoshua",
            "Gordon, Geoffrey J.",
        ),
        year=2019,
        venue=ICLR,
        arxiv="1812.05159",
    ),
    Publication(
        key="kingma2015adam",
        title="Adam: A Method for Stochastic Optimization",
        authors=("Kingma, Diederik P.", "Ba, Jimmy"),
        year=2015,
        venue=ICLR,
        arxiv="1412.6980",
    ),
    Publication(
        key="zhuang2022gsam",
        title="Surrogate Gap Minimization Improves Sharpness-Aware Training",
        authors=(
            "Zhuang, Juntang",
            "Gong, Boqing",
            "Yuan, Liangzhe",
            "Cui, Yin",
            "Adam, Hartwig",
            "Dvornek, Nicha C.",
            "Tatikonda, Sekhar",
            "Duncan, James S.",
            "Liu, Ting",
        ),
        year=2022,
        venue=ICLR,
        arxiv="2203.08065",
    ),
)
"""Methods, coresets, optimisers and evaluation protocols."""

METHODS_BY_KEY: Mapping[str, Publication] = {method.key: method for method in METHODS}
METHODS_BY_ARXIV: Mapping[str, Publication] = {m.arxiv: m for m in METHODS if m.arxiv}
